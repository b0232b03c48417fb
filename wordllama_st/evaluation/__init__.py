"""Score models on a user's own data, by sentence-transformers' evaluators and scikit-learn."""

from wordllama_st.evaluation.outputs import ReportFiles, write_card
from wordllama_st.evaluation.plots import plot_dims, plot_speed
from wordllama_st.evaluation.reading import read_classification, read_clustering, read_retrieval, read_similarity
from wordllama_st.evaluation.report import Report
from wordllama_st.evaluation.run import evaluate, similarity_score
from wordllama_st.evaluation.tasks import ClassificationTask, ClusteringTask, RetrievalTask, SimilarityTask, Task

__all__ = [
    "ClassificationTask",
    "ClusteringTask",
    "Report",
    "ReportFiles",
    "RetrievalTask",
    "SimilarityTask",
    "Task",
    "evaluate",
    "plot_dims",
    "plot_speed",
    "read_classification",
    "read_clustering",
    "read_retrieval",
    "read_similarity",
    "similarity_score",
    "write_card",
]
