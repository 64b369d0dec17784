"""ProbSparse attention: the few queries that prefer some keys attend, all others take an average."""

from headway.core.ops.probsparse.reference import probsparse_attention, sample_keys, sparse_number

__all__ = ["probsparse_attention", "sample_keys", "sparse_number"]
