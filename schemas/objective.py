"""What a model is to learn: classes, numbers, or what is out of the ordinary."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from schemas.frozen import Extended, Frozen

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


def _word_to_kind(value: Any) -> Any:
    """A bare word is a loss with its defaults."""
    return {"kind": value} if isinstance(value, str) else value


class CrossEntropy(Frozen):
    """Cross entropy over the classes."""

    kind: Literal["cross_entropy"] = "cross_entropy"


class CrossEntropyThenBCE(Frozen):
    """Cross entropy, then binary cross entropy of each class against the rest, with smoothed labels."""

    kind: Literal["cross_entropy_then_bce"] = "cross_entropy_then_bce"
    after_epochs: int = Field(ge=1, le=100_000, description="epochs of cross entropy before the change")
    smoothing: float = Field(
        default=0.1, ge=0, lt=1, description="share of a label that is spread evenly over all classes"
    )


_TaggedClassLoss = Annotated[CrossEntropy | CrossEntropyThenBCE, Field(discriminator="kind")]
ClassLoss = Annotated[
    _TaggedClassLoss,
    BeforeValidator(_word_to_kind, json_schema_input_type=Literal["cross_entropy"] | _TaggedClassLoss),
]
Weight = Annotated[float, Field(gt=0, le=1e6)]


class Classification(Extended):
    """Which class an image belongs to."""

    LATER: ClassVar[tuple[str, ...]] = ("loss", "class_weights")

    kind: Literal["classification"] = "classification"
    loss: ClassLoss = Field(default=CrossEntropy(), description="what training makes small")
    class_weights: Literal["balanced"] | dict[Name, Weight] | None = Field(
        default=None,
        description="how much a sample of each class counts in the loss, 1 for those not named; balanced:"
        " inversely to the number of training samples; all alike when left out",
    )


class Target(Frozen):
    """A column of the store that a model is to predict."""

    column: str = Field(min_length=1, description="name of the column")
    transform: Literal["none", "log10"] = Field(
        default="none", description="what is learned: the value itself or its decimal logarithm"
    )

    @property
    def name(self) -> str:
        """How the learned quantity is called in tables."""
        return self.column if self.transform == "none" else f"log10({self.column})"


class SquaredError(Frozen):
    """Mean squared error of standardised targets."""

    kind: Literal["mse"] = "mse"


class AbsoluteError(Frozen):
    """Mean absolute error of standardised targets."""

    kind: Literal["mae"] = "mae"


class Huber(Frozen):
    """Squared up to `delta`, absolute beyond: outliers pull less."""

    kind: Literal["huber"] = "huber"
    delta: float = Field(
        default=1.0, gt=0, le=100, description="where the one turns into the other, in spreads of the target"
    )


class GaussianLikelihood(Frozen):
    """Mean and variance of each target are learned; predictions come with their standard deviation."""

    kind: Literal["gaussian"] = "gaussian"
    beta: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="each term is weighted by its variance to this power (Seitzer et al. 2022): 0 is the"
        " plain likelihood, 1 trains the means as the squared error does",
    )


_TaggedNumberLoss = Annotated[
    SquaredError | AbsoluteError | Huber | GaussianLikelihood, Field(discriminator="kind")
]
NumberLoss = Annotated[
    _TaggedNumberLoss,
    BeforeValidator(
        _word_to_kind,
        json_schema_input_type=Literal["mse", "mae", "huber", "gaussian"] | _TaggedNumberLoss,
    ),
]


class Regression(Extended):
    """Numbers that describe a sample. A class to which only some of them apply takes part in those."""

    LATER: ClassVar[tuple[str, ...]] = ("loss",)

    kind: Literal["regression"] = "regression"
    targets: tuple[Target, ...] = Field(min_length=1, max_length=64)
    allow_derived: bool = Field(
        default=False,
        description="accept columns marked as derived, such as theta_E_smooth; they betray the class",
    )
    loss: NumberLoss = Field(default=SquaredError(), description="what training makes small")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        columns = [target.column for target in self.targets]
        if len(set(columns)) < len(columns):
            raise ValueError("a column is listed twice")
        return self


class PlainAutoencoder(Frozen):
    """Squared error of the reconstruction alone."""

    kind: Literal["autoencoder"] = "autoencoder"


class Variational(Frozen):
    """The evidence lower bound, with the variance of the pixels at its optimum (Rybkin et al. 2021)."""

    kind: Literal["variational"] = "variational"
    beta: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="weight of the divergence between latent values and their prior",
    )


class Adversarial(Frozen):
    """A discriminator makes the latent values look like their prior (Makhzani et al. 2016)."""

    kind: Literal["adversarial"] = "adversarial"
    weight: float = Field(
        default=0.01,
        gt=0,
        le=100,
        description="weight of deceiving the discriminator beside the squared error",
    )


_TaggedMethod = Annotated[PlainAutoencoder | Variational | Adversarial, Field(discriminator="kind")]
Method = Annotated[
    _TaggedMethod,
    BeforeValidator(
        _word_to_kind,
        json_schema_input_type=Literal["autoencoder", "variational", "adversarial"] | _TaggedMethod,
    ),
]


class Anomaly(Frozen):
    """Images unlike those of the classes that were trained on: what a bottleneck cannot reproduce."""

    kind: Literal["anomaly"] = "anomaly"
    trained_on: tuple[Name, ...] | None = Field(
        default=None,
        min_length=1,
        description="classes to train on; those without substructure when left out",
    )
    method: Method = Field(default=Variational(), description="what keeps the latent values in order")
    latent: int = Field(default=16, ge=1, le=1024, description="numbers that an image is squeezed into")

    @model_validator(mode="after")
    def _each_class_once(self) -> Self:
        if self.trained_on is not None and len(set(self.trained_on)) < len(self.trained_on):
            raise ValueError("a class is listed twice")
        return self


Objective = Annotated[Classification | Regression | Anomaly, Field(discriminator="kind")]
