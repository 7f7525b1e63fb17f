"""Where documents come from: one file per kind of source, all of them `migrator.model.Extractor`s."""
