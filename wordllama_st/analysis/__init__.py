"""Looking into a model: which tokens make two texts similar, and what is unusual about a token table."""

from wordllama_st.analysis.explanation import Explanation, explain
from wordllama_st.analysis.inspection import TableReport, inspect_table
from wordllama_st.analysis.inspection_plot import plot_table

__all__ = ["Explanation", "TableReport", "explain", "inspect_table", "plot_table"]
