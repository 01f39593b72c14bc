"""Alignment of a labelled source domain with a target domain of few labels: KNN-MMD and what it is compared with."""
