# What a host has, the same on NixOS and elsewhere.
{ lib }: lib.importTOML ../../generator/llmhop_generator/host.toml
