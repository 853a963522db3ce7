"""What stands below the pictures of a report: what is drawn, and how it is read."""

from schemas.report import Report

CAPTIONS = {
    "ROC": "ROC: the share of a class that is found, against the share of all others that is taken for it.",
    "Precision": "Precision and recall: of what is said to be a class, how much is. Dotted: knowing nothing.",
    "Confusion": "Confusion: samples, and their share of the true class.",
    "Loss": "Loss by epoch. That of the validation samples chose the epoch that was kept.",
    "Reliability": "Reliability: how often the predicted class is right, against its probability.",
    "Coverage": "Coverage: how many true values predicted intervals hold, against how many they should.",
    "Scores": "Scores: how many images of each class have which anomaly score.",
    "Reconstructions": "Reconstructions: image, what came back of it, and their difference. Red: the image is"
    " brighter. Blue: what came back is.",
    "mean maps": "The mean of some images of each class, and of the maps of where the network looks. Each map"
    " has its own scale: yellow is most.",
}
THRESHOLDS = "Coverage: how many ordinary images stay below each threshold, against how many should."


def caption(title: str, report: Report) -> str:
    """Of a picture by its title; what is none of them is a target."""
    if title == "Coverage" and report.metrics.kind == "anomaly":
        return THRESHOLDS
    return CAPTIONS.get(title, f"{title}: the predicted against the true value of each sample.")
