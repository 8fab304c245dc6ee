"""A YAML file that holds one mapping, read so that a mistake in it has one line.

One decision: a key that stands twice is refused. YAML takes the last one and says nothing, and what
the reader of the file sees first is then not what happens.
"""

from pathlib import Path
from typing import Any

from distml.errors import UserError

__all__ = ["read_yaml"]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping of a file.

    Raises:
        UserError: there is no such file, it is not YAML, or not one mapping.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Looks at keys before merges (`<<`) bring in others'."""

        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            seen: set[str] = set()
            for key, _ in node.value:
                wrong = None
                if not key.tag.endswith((":str", ":merge")):
                    wrong = "a key is not text: put it in quotes"
                elif str(key.value) in seen:
                    wrong = f"{key.value!r} stands twice"
                if wrong is not None:
                    raise yaml.constructor.ConstructorError(None, None, wrong, key.start_mark)
                seen.add(str(key.value))
            return node

    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise UserError(f"{path}{line}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content:
        said = "is empty" if not content else f"is a {type(content).__name__}, not a mapping"
        raise UserError(f"{path}: {said}")
    return content
