"""Drawing of predictions onto pictures, for whatever leaves the page: reports now, clips later.

The live view's own drawing is static/player/paint.js, with the same look.
"""
