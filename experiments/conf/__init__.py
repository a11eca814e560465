"""The groups of the configuration, also for other Hydra applications: ``hydra.searchpath=[pkg://ppvae_experiments.conf]``."""
