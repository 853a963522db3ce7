"""Training, evaluation and reports: the only place for torch."""

from train.torchvision_operators import declare_missing_operators

# before anything imports timm, torchmetrics or lightning, which import torchvision
declare_missing_operators()
