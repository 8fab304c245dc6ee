"""Bagging, voting, stacking, selection: scikit-learn's classes with their fits spread over Ray."""

from distml.ensemble.bagging import BaggingClassifier, BaggingRegressor
from distml.ensemble.selection import SelectionClassifier, SelectionRegressor
from distml.ensemble.stacking import StackingClassifier, StackingRegressor
from distml.ensemble.voting import VotingClassifier, VotingRegressor

__all__ = [
    "BaggingClassifier",
    "BaggingRegressor",
    "SelectionClassifier",
    "SelectionRegressor",
    "StackingClassifier",
    "StackingRegressor",
    "VotingClassifier",
    "VotingRegressor",
]
