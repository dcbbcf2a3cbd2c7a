"""The commands of `pretrain`, one file each."""
