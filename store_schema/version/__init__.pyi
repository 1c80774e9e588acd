from .dataset import (
    Dataset as Dataset,
)
from .dataset import (
    open_dataset as open_dataset,
)
from .manifest import (
    Manifest as Manifest,
)
from .manifest import (
    parse_manifest as parse_manifest,
)
from .reader import (
    ClipReader as ClipReader,
)
from .shards import (
    CorruptShardError as CorruptShardError,
)
from .shards import (
    write_shard as write_shard,
)
from .verify import (
    verify_version as verify_version,
)
from .write import (
    write_version as write_version,
)
