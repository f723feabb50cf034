"""Writes the contract of every example beside it: examples/<name>.json.

Run from the repository root: python3 -m tests.module.update_examples
"""

from tests.module.nix import EXAMPLES, canonical, evaluate


def main() -> None:
    """Evaluate each example and write its contract."""
    for module in sorted(EXAMPLES.glob("*.nix")):
        target = module.with_suffix(".json")
        target.write_text(canonical(evaluate("contract", module)), encoding="utf-8")
        print(target.relative_to(EXAMPLES.parent))


if __name__ == "__main__":
    main()
