from .method import (
    ImageMethod as ImageMethod,
)
from .method import (
    Method as Method,
)
from .method import (
    MethodInfo as MethodInfo,
)
from .method import (
    SceneMethod as SceneMethod,
)
from .method import (
    ViewImage as ViewImage,
)
from .observer import (
    Observer as Observer,
)
from .render_folder import (
    RenderFolder as RenderFolder,
)
from .save_scenes import (
    SceneSaver as SceneSaver,
)
from .scene_folder import (
    SceneFolder as SceneFolder,
)
from .standard import (
    lifted_method as lifted_method,
)
from .standard import (
    standard_methods as standard_methods,
)
