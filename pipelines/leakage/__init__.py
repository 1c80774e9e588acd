"""Do two splits of a data set show the same places?"""
