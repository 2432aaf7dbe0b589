"""Future prediction (Wang et al. 2018, section 4): coming label maps from past ones, which an ordinary run renders."""
