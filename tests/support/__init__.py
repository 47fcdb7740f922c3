"""What several tests share: tiny models, painted pictures, cameras and fakes."""
