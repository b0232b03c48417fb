"""Scores a user can trust: the library's evaluators and scikit-learn's, on the user's own data."""

from wordllama_st.evaluation.classification import ClassificationTask
from wordllama_st.evaluation.clustering import ClusteringTask
from wordllama_st.evaluation.reading import read_classification, read_clustering, read_retrieval, read_similarity
from wordllama_st.evaluation.report import Report
from wordllama_st.evaluation.retrieval import RetrievalTask
from wordllama_st.evaluation.run import evaluate, similarity_score
from wordllama_st.evaluation.similarity import SimilarityTask
from wordllama_st.evaluation.task import Task

__all__ = [
    "ClassificationTask",
    "ClusteringTask",
    "Report",
    "RetrievalTask",
    "SimilarityTask",
    "Task",
    "evaluate",
    "read_classification",
    "read_clustering",
    "read_retrieval",
    "read_similarity",
    "similarity_score",
]
