"""Planted leaks of models that need a contract, one file each, a role or a clock each."""

from audits.leaks.contracts._planted import ContractLeak, all_contract_leaks

__all__ = ["ContractLeak", "all_contract_leaks"]
