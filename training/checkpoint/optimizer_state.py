"""State of the Adam optimiser by parameter names, so that it can be loaded whatever the parameters' order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from flux4d.network.weights import tensor_differences

FIELDS = ("exp_avg", "exp_avg_sq", "step")
"""What Adam keeps of a parameter."""
_SCALARS = ("lr", "betas", "eps", "weight_decay", "amsgrad", "maximize")
_MAY_CHANGE = ("lr",)


def pack(optimizer: torch.optim.Adam, network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimiser's state as tensors and JSON.

    Args:
        optimizer: Of parameters of `network` alone.
        network: Gives the names.

    Returns:
        tensors: ``{parameter name}.{exp_avg|exp_avg_sq|step}`` on the CPU; none of a parameter without a step so far.
        scalars: Name of the optimiser and, of each group, its settings and the names of its parameters.
    """
    names = _names(network)
    tensors = {
        f"{names[id(parameter)]}.{field}": value.detach().cpu().contiguous()
        for parameter, fields in optimizer.state.items()
        for field, value in fields.items()
    }
    return tensors, _scalars(optimizer, network)


def differences(
    tensors: Mapping[str, Tensor], scalars: Mapping[str, Any], optimizer: torch.optim.Adam, network: nn.Module
) -> list[str]:
    """A line for all in which a packed state does not fit the optimiser; the learning rate may be another."""
    ours = _scalars(optimizer, network)
    lines = []
    if scalars["name"] != ours["name"]:
        lines.append(f"optimiser: checkpoint {scalars['name']}, this run {ours['name']}")
    if len(scalars["groups"]) != len(ours["groups"]):
        return [*lines, f"optimiser groups: checkpoint {len(scalars['groups'])}, this run {len(ours['groups'])}"]
    for index, (theirs, own) in enumerate(zip(scalars["groups"], ours["groups"], strict=True)):
        for key in _SCALARS:
            if key not in _MAY_CHANGE and theirs[key] != own[key]:
                lines.append(f"optimiser {key}: checkpoint {theirs[key]}, this run {own[key]}")
        # Missing and unexpected names show in the tensors; here only those that changed the group.
        if len(ours["groups"]) > 1 and sorted(theirs["parameters"]) != sorted(own["parameters"]):
            lines.append(f"optimiser group {index} has other parameters")
    parameters = {name: p for group in optimizer.param_groups for name, p in _named(group, network)}
    return lines + [f"optimiser: {line}" for line in tensor_differences(tensors, _wanted(tensors, scalars, parameters))]


def unpack(
    tensors: Mapping[str, Tensor], scalars: Mapping[str, Any], optimizer: torch.optim.Adam, network: nn.Module
) -> None:
    """Give the optimiser a packed state in which `differences` found nothing; its former state goes."""
    state = optimizer.state_dict()
    state["state"] = {}
    for packed, own, group in zip(scalars["groups"], state["param_groups"], optimizer.param_groups, strict=True):
        own["lr"] = packed["lr"]
        for index, (name, _) in zip(own["params"], _named(group, network), strict=True):
            if f"{name}.{FIELDS[0]}" in tensors:
                state["state"][index] = {field: tensors[f"{name}.{field}"].clone() for field in FIELDS}
    optimizer.load_state_dict(state)


def _scalars(optimizer: torch.optim.Adam, network: nn.Module) -> dict[str, Any]:
    groups = [
        {**{key: _json(group[key]) for key in _SCALARS}, "parameters": [name for name, _ in _named(group, network)]}
        for group in optimizer.param_groups
    ]
    return {"name": type(optimizer).__name__, "groups": groups}


def _wanted(
    tensors: Mapping[str, Tensor], scalars: Mapping[str, Any], parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What a state of these parameters looks like, values aside."""
    packed = {name for group in scalars["groups"] for name in group["parameters"]}
    wanted = {}
    for name, parameter in parameters.items():
        # A parameter that had no gradient yet has no state at all.
        if name in packed and not any(f"{name}.{field}" in tensors for field in FIELDS):
            continue
        wanted.update({f"{name}.{field}": parameter for field in FIELDS[:2]})
        wanted[f"{name}.step"] = torch.zeros((), dtype=torch.float32)
    return wanted


def _names(network: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in network.named_parameters()}


def _named(group: Mapping[str, Any], network: nn.Module) -> list[tuple[str, Tensor]]:
    names = _names(network)
    return [(names[id(parameter)], parameter) for parameter in group["params"]]


def _json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
