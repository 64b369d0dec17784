"""Heads: what reads the result of a stack."""

from headway.core.heads.classification import ClassificationHead
from headway.core.heads.pooling import (
    AttentionPooling,
    AveragePooling,
    MaxPooling,
    PoolingLayer,
    TokenAveragePooling,
    TokenPooling,
)
from headway.core.heads.regression import QuantileHead, RegressionHead
from headway.core.heads.student_t import StudentT, StudentTHead
from headway.core.heads.token import TokenHead

__all__ = [
    "AttentionPooling",
    "AveragePooling",
    "ClassificationHead",
    "MaxPooling",
    "PoolingLayer",
    "QuantileHead",
    "RegressionHead",
    "StudentT",
    "StudentTHead",
    "TokenAveragePooling",
    "TokenHead",
    "TokenPooling",
]
