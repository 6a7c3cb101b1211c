"""What every registered thing must do, as tests: over the built-ins, or over what a plug-in registers.

``python -m kdcompress.contracts mine.py`` runs them over a plug-in (with the extra ``test`` installed).
"""
