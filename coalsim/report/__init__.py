"""Reports of studies: one HTML file that can be mailed, figures for papers, tables for other programs.

Everything here reads `sweep.results.StudyResults` and writes; nothing is run.  What is written depends
on the results alone: the same runs give the same bytes, whoever ran them, where and when.
"""
