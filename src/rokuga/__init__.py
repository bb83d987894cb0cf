"""Rokuga (録画): a self-hosted cloud recorder for WebRTC rooms."""
