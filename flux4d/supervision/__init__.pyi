from .exposure import (
    Exposure as Exposure,
)
from .exposure_fit import (
    ExposureConfig as ExposureConfig,
)
from .exposure_fit import (
    fit_exposure as fit_exposure,
)
from .losses.total import (
    LossConfig as LossConfig,
)
from .losses.total import (
    Losses as Losses,
)
from .losses.total import (
    view_loss as view_loss,
)
from .recorded import (
    render_recorded as render_recorded,
)
from .ssim import (
    ssim_map as ssim_map,
)
from .target import (
    Target as Target,
)
from .target import (
    make_target as make_target,
)
