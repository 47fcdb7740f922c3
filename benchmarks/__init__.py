"""What the station costs, as ratios within one run on real input. `make bench` runs all."""
