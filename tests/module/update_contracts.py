"""Writes the contract of each example and scenario beside it, as <name>.json.

Run from the repository root: python3 -m tests.module.update_contracts
"""

from tests.module.nix import CONFIGURATIONS, ROOT, canonical, evaluate


def main() -> None:
    """Evaluate each configuration and write its contract."""
    for module in CONFIGURATIONS:
        target = module.with_suffix(".json")
        target.write_text(canonical(evaluate("contract", module)), encoding="utf-8")
        print(target.relative_to(ROOT))


if __name__ == "__main__":
    main()
