"""All studies by name."""

from pipelines.studies.depth import DEPTH_STUDIES
from pipelines.studies.dropout import DROPOUT_STUDIES
from pipelines.studies.image_nets import IMAGE_STUDIES
from pipelines.studies.initial_weights import INITIAL_WEIGHT_STUDIES
from pipelines.studies.labels import LABEL_STUDIES
from pipelines.studies.optimisation import OPTIMISATION_STUDIES
from pipelines.studies.residual import RESIDUAL_STUDIES
from pipelines.studies.study import Study
from pretrain.exceptions import SettingsError

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        *DEPTH_STUDIES,
        *LABEL_STUDIES,
        *DROPOUT_STUDIES,
        *OPTIMISATION_STUDIES,
        *INITIAL_WEIGHT_STUDIES,
        *IMAGE_STUDIES,
        *RESIDUAL_STUDIES,
    )
}


def studies_named(names: tuple[str, ...]) -> list[Study]:
    """The studies with these names, each once; SettingsError names one that does not exist."""
    for name in names:
        if name not in STUDIES:
            raise SettingsError(f"There is no study {name!r}; the studies are {', '.join(STUDIES)}.")
    return [STUDIES[name] for name in dict.fromkeys(names)]
