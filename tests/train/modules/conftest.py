import pytest
import torch

from distml.train.shape import Field, Shape

FIELDS = {
    "numbers": Field(kind="numbers", size=(3,), columns=("a", "b", "c")),
    "categories": Field(kind="categories", size=(2,), num_values=(4, 300)),
    "array": Field(kind="array", size=(6, 2), columns=("signal",)),
    "sequence": Field(kind="sequence", size=(2,), columns=("heart",)),
    "tokens": Field(kind="tokens", num_values=(20,), columns=("tweet",)),
}


@pytest.fixture
def shape_of():
    def make(*kinds, num_outputs=4, **sizes):
        fields = [FIELDS[kind] for kind in kinds]
        fields += [Field(kind=kind, size=size) for kind, size in sizes.items()]
        return Shape(fields=tuple(fields), num_outputs=num_outputs)

    return make


@pytest.fixture
def batch_of():
    """Random fields of a shape; ragged rows have the lengths that are given."""

    def make(shape, lengths=(5, 1, 3), seed=0):
        generator = torch.Generator().manual_seed(seed)
        rows, longest = len(lengths), max(lengths)
        fields = {}
        for field in shape:
            if field.kind == "categories":
                columns = [
                    torch.randint(1, n, (rows,), generator=generator) for n in field.num_values
                ]
                fields["categories"] = torch.stack(columns, dim=1)
            elif field.kind == "tokens":
                size = (rows, longest)
                fields["tokens"] = torch.randint(1, field.num_values[0], size, generator=generator)
            else:
                steps = (longest,) if field.kind == "sequence" else ()
                fields[field.kind] = torch.randn(rows, *steps, *field.size, generator=generator)
        if shape.is_ragged:
            fields["lengths"] = torch.tensor(lengths)
            beyond = torch.arange(longest) >= fields["lengths"][:, None]
            for kind in {"tokens", "sequence"} & fields.keys():
                fields[kind][beyond] = 0
        return fields

    return make
