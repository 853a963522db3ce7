"""Whether anything but the substructure gives the label away.

`evidence` reads columns, image statistics and images of a store; `questions` asks of each class pair what
might tell it apart; `verdict` asks them all and says which answers fail; `picture` draws them. Behind them
`separation` has areas under ROC curves with what chance does to them, `classifier` logistic regression and
`components` principal components.
"""

from storage.audit.evidence import Evidence, gather
from storage.audit.picture import draw
from storage.audit.questions import questions_of
from storage.audit.verdict import audit, refuse_leaks

__all__ = ["Evidence", "audit", "draw", "gather", "questions_of", "refuse_leaks"]
