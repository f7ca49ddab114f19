"""The project's data sets, one file a data set or family. Importing them imports no torch."""
