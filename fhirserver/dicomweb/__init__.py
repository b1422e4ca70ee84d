"""DICOMweb, the Studies service of DICOM PS3.18: STOW-RS, WADO-RS and QIDO-RS.

Nothing is decided here: a study is found, counted and retrieved exactly when its ImagingStudy is readable through the
guarded store, and stored exactly when that ImagingStudy may be written. Pixels are never decoded here. Flask ends in
`routes`; the modules below it take and give plain values.
"""
