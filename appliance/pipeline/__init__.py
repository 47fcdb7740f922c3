"""The running station: cameras to engine to results, and who watches over them."""
