"""Texts for people that remember how they were made, so that they can be said in another language."""


class Words(str):
    """English text of a ``template`` with ``{names}`` and their ``values``; values may be Words themselves.

    It is a plain string to all who do not care. A value must hold nothing secret.
    """

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, /, **values: object) -> "Words":
        text = super().__new__(cls, template.format(**values))
        text.template, text.values = template, values
        return text
