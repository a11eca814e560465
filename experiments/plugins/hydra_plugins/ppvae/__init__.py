"""Hydra's plugins of this house: Hydra looks for such in the package ``hydra_plugins`` and nowhere else."""
