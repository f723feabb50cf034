"""What is refused of keys of [Service], which the manager of the models' user starts."""

from llmhop_generator.contract.keys.rule import HEALTH, TRUE, Rule

SERVICE = {
    "DynamicUser": Rule("set the option `user`, whose manager starts the unit", TRUE),
    "ExecStart": Rule("Podman writes it; set `settings` or keys of containerConfig"),
    "Group": Rule("set the option `group`; the manager of `user` starts the unit"),
    "RemainAfterExit": Rule(
        "a model whose engine has ended would be taken for one that is up", TRUE
    ),
    "SetCredential": Rule("it would be seen in the unit; set a variable in an environmentFile"),
    "Type": Rule(HEALTH),
    "User": Rule("set the option `user`, whose manager starts the unit"),
}
