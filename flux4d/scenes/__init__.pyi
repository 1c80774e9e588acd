from .from_clip import (
    scene_of as scene_of,
)
from .read import (
    SceneFileError as SceneFileError,
)
from .read import (
    read_scene as read_scene,
)
from .scene import (
    Scene as Scene,
)
from .scene import (
    SceneCamera as SceneCamera,
)
from .write import (
    write_scene as write_scene,
)
