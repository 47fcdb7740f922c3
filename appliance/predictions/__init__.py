"""What models say of a picture: frozen values, numpy alone, one class for each kind of answer.

    kind              of the tasks
    Classification    classification, with one label of a picture or several
    Instances         detection; with more columns: oriented detection, pose, instance segmentation

Whoever carries predictions on needs no more than `Prediction`. Only the modules of a task (in
tasks/, optimizer/measures/, render/ and the player's tasks/) know its kind.
"""

from appliance.predictions.classification import Classification
from appliance.predictions.instances import Instances
from appliance.predictions.prediction import Prediction
from appliance.predictions.result import Result

__all__ = ["Classification", "Instances", "Prediction", "Result"]
