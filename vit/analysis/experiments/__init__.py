"""One module per experiment; its name is that of ``analysis=NAME``. ``vit.analysis.study`` says what it has."""
