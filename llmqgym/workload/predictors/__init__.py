"""Predictors: what the scheduler is told about output lengths."""

from llmqgym.workload.predictors.apply import apply_predictor
from llmqgym.workload.predictors.predictor import Draws, Looks, Predictions, Predictor
from llmqgym.workload.predictors.registry import PREDICTORS, make_predictor

__all__ = ["PREDICTORS", "Draws", "Looks", "Predictions", "Predictor", "apply_predictor", "make_predictor"]
