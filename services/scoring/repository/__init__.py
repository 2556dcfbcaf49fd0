"""All SQL of scoring: few statements a batch, each over all its rows by `unnest`, rows always in one order."""
