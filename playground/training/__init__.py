"""Training and evaluation: data sets, one recipe a family, one trainer, one evaluation for all."""
