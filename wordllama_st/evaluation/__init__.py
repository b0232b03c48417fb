"""Score models on a user's own data, by sentence-transformers' evaluators and scikit-learn."""

from wordllama_st.evaluation.outputs import ReportFiles as ReportFiles
from wordllama_st.evaluation.outputs import write_card as write_card
from wordllama_st.evaluation.plots import plot_dims as plot_dims
from wordllama_st.evaluation.plots import plot_queries as plot_queries
from wordllama_st.evaluation.plots import plot_speed as plot_speed
from wordllama_st.evaluation.reading import read_classification as read_classification
from wordllama_st.evaluation.reading import read_clustering as read_clustering
from wordllama_st.evaluation.reading import read_retrieval as read_retrieval
from wordllama_st.evaluation.reading import read_similarity as read_similarity
from wordllama_st.evaluation.report import Report as Report
from wordllama_st.evaluation.retrieval import RetrievalTask as RetrievalTask
from wordllama_st.evaluation.run import evaluate as evaluate
from wordllama_st.evaluation.run import similarity_score as similarity_score
from wordllama_st.evaluation.tasks import ClassificationTask as ClassificationTask
from wordllama_st.evaluation.tasks import ClusteringTask as ClusteringTask
from wordllama_st.evaluation.tasks import SimilarityTask as SimilarityTask
from wordllama_st.evaluation.tasks import Task as Task
