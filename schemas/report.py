"""What an evaluation says: scores, what they are worth, where they come from. All of it is plain JSON."""

from typing import Literal

from pydantic import Field

from schemas.calibration import Reliability
from schemas.frozen import Frozen
from schemas.metrics import Interval, Metrics, Score
from schemas.store import Digest


class Baseline(Frozen):
    """What something simpler scores on the same samples."""

    kind: Literal["components", "shuffled", "constant"]
    what: str = Field(description="in words for a table")
    scores: tuple[Score, ...] = Field(description="by the names of the model's own scores")
    gain: dict[str, Interval] = Field(
        default={}, description="by score: how much better the model is, paired over samples"
    )


class Bound(Frozen):
    """What the best observer could score in telling a class from one without substructure."""

    name: str = Field(description="name of the class")
    against: str = Field(description="name of the class without substructure")
    ideal: Interval = Field(description="mean over samples of Phi(detectability / sqrt 2)")
    model: Interval = Field(description="area under the model's curve for these two classes")
    holds: bool = Field(
        default=True,
        description="whether lenses are drawn widely enough for a score above to be a leak; not in replicas",
    )

    def __str__(self) -> str:
        """A pair of classes in a line: what the model has, and what it could have at most."""
        found = f"{self.model.value:.4g} ({self.model.low:.4g} to {self.model.high:.4g})"
        best = f"at most {self.ideal.value:.4g}"
        if not self.holds:
            best += " for who does not know the lens, which is the same in every image"
        return f"AUC of {self.name} against {self.against}: {found}, {best}"


class Flag(Frozen):
    """Something that makes the scores unbelievable or needs a look."""

    severity: Literal["leak", "warning"]
    text: str = Field(description="one sentence: what was found, and what it means")


class Bin(Frozen):
    """The score of samples whose value of a column lies in an interval."""

    low: float
    high: float
    samples: int
    score: Interval


class Dependence(Frozen):
    """How a score changes with a column, for one class or all of them."""

    column: str
    unit: str
    class_name: str | None = Field(
        default=None, description="None: all classes together that have the column"
    )
    score: str = Field(description="what is in the bins, such as accuracy or MAE of theta_E")
    better: Literal["higher", "lower"]
    bins: tuple[Bin, ...]
    ideal: tuple[float | None, ...] = Field(
        default=(), description="the bound in each bin, where there is one"
    )
    trend: float | None = Field(
        default=None, description="share of the variance of ranks that the bins explain (Kruskal and Wallis)"
    )
    p_value: float | None = Field(
        default=None, description="chance of such a trend without one, times the number of those looked for"
    )


class Example(Frozen):
    """A sample that the model did especially well or badly on."""

    seed: int
    sample_id: int
    kind: Literal["best", "worst"]
    group: str = Field(default="", description="the class or target that it was chosen for")
    true: str = Field(description="class, or value with unit")
    said: str = Field(description="what the model says, with its probability or sigma")
    measure: float = Field(description="what it was chosen by: probability of the true class, error, score")
    picture: str | None = Field(default=None, description="file in the report's folder of pictures")
    map: str | None = Field(default=None, description="file with what the network looks at")


class Confused(Frozen):
    """Samples of one class taken for another."""

    true: str
    taken_for: str
    samples: int
    share: float = Field(ge=0, le=1, description="of the samples of the true class")
    differs: str = Field(default="", description="in which column they differ most from those taken rightly")


class Speed(Frozen):
    """How long a prediction takes, stretch included, reading excluded."""

    batch: int
    ms_per_image: float
    device: str


class Verdict(Frozen):
    """Whether a run reached what its experiment expects."""

    expected: str
    met: bool

    def __str__(self) -> str:
        return f"expected {self.expected}: {'met' if self.met else 'NOT met'}"


class Look(Frozen):
    """An evaluation on a split that was there before."""

    at: str = Field(description="UTC, ISO 8601")
    run: str
    experiment: str
    experiment_digest: Digest
    weights_sha256: Digest
    scores: tuple[Score, ...]
    model: str = ""
    store_digest: Digest | None = Field(default=None, description="of the data that were looked at")
    split: str = ""
    labels: tuple[int, ...] = Field(default=(), description="classes whose samples were looked at")
    again: bool = Field(
        default=False, description="in a report: of the weights that it is of, so that it was no other try"
    )
    same_goal: bool = Field(
        default=True,
        description="in a report: whether it asked what the report asks, of the same classes or targets",
    )


class Report(Frozen):
    """What an evaluation says."""

    format_version: Literal[1] = 1
    run: str
    experiment: str
    model: str
    experiment_digest: Digest
    store: str
    store_recipe: str
    store_digest: Digest
    same_recipe: bool = Field(description="whether the data are of the recipe that the model was trained on")
    split: str
    samples: int
    headline: str
    metrics: Metrics
    ms_per_image: float = Field(
        description="prediction time on this device in large batches, stretch included"
    )
    device: str
    parameters: int
    versions: dict[str, str]
    warnings: tuple[str, ...] = ()
    at: str | None = Field(default=None, description="when it was measured: UTC, ISO 8601")
    scores: tuple[Score, ...] = Field(default=(), description="the metrics in one line each")
    reliability: Reliability | None = Field(default=None, description="whether probabilities can be believed")
    baselines: tuple[Baseline, ...] = ()
    bounds: tuple[Bound, ...] = ()
    flags: tuple[Flag, ...] = Field(default=(), description="shown in red")
    dependences: tuple[Dependence, ...] = ()
    examples: tuple[Example, ...] = ()
    confused: tuple[Confused, ...] = ()
    speeds: tuple[Speed, ...] = ()
    verdict: Verdict | None = Field(
        default=None, description="of the experiment's expectation; None where it has none for these samples"
    )
    looks: tuple[Look, ...] = Field(
        default=(),
        description="earlier evaluations on these samples, of any run, oldest first",
    )
