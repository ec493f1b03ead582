"""`infra/aws/pipeline.yaml` made real at moto: each resource through its own service.

Moto's CloudFormation is left out: it passes over half of a bucket's properties in silence, and brings forty packages.
What is written here refuses what it does not know.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import yaml

from tests.architecture.tree import ROOT

Json = dict[str, Any]
TEMPLATE = ROOT / "infra/aws/pipeline.yaml"
REGION = "eu-central-1"
ACCOUNT = "123456789012"
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}
NO_VALUE = object()


class _Loader(yaml.SafeLoader):
    """Knows the short forms of CloudFormation's functions."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Json:
    match node:
        case yaml.ScalarNode():
            return {f"!{suffix}": loader.construct_scalar(node)}
        case yaml.SequenceNode():
            return {f"!{suffix}": loader.construct_sequence(node, deep=True)}
        case _:
            raise ValueError(f"!{suffix} of a mapping is not known here")


_Loader.add_multi_constructor("!", _function)


def read_template() -> Json:
    found: Json = yaml.load(TEMPLATE.read_text("utf-8"), _Loader)  # noqa: S506 - a safe one, with tags
    return found


@dataclass(slots=True)
class Deployment:
    """A stack of the template; ``outputs`` are told when everything is there."""

    endpoint: str
    parameters: Mapping[str, str]
    template: Json = field(default_factory=read_template)
    references: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = {name: one.get("Default") for name, one in self.template["Parameters"].items()}
        self.references = {**PSEUDO, **given, **self.parameters, "AWS::NoValue": NO_VALUE}

    def deploy(self) -> dict[str, str]:
        """The outputs by name; resources are made in the order in which they refer to each other."""
        waiting = dict(self.template["Resources"])
        while waiting:
            name = next(one for one in waiting if self._can_resolve(waiting[one]))
            resource = waiting.pop(name)
            CREATE[resource["Type"]](self, name, self.resolve(resource["Properties"]))
        return {name: self.resolve(one["Value"]) for name, one in self.template["Outputs"].items()}

    def policy(self, name: str) -> Json:
        found: Json = self.resolve(self.template["Resources"][name]["Properties"]["PolicyDocument"])
        return found

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="deployer",
            aws_secret_access_key="unused",
        )

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.resolve(one) for one in value]
        if not isinstance(value, dict):
            return value
        if name := next((name for name in value if name.startswith("!")), None):
            return self._call(name, value[name])
        found = {name: self.resolve(one) for name, one in value.items()}
        return {name: one for name, one in found.items() if one is not NO_VALUE}

    def _call(self, function: str, argument: Any) -> Any:
        match function, argument:
            case "!Ref", str(name):
                return self.references[name]
            case "!GetAtt", str(name):
                return self.attributes[name]
            case "!Sub", str(text):
                return re.sub(r"\$\{([^}]+)\}", lambda found: self.references[found[1]], text)
            case "!If", [str(condition), yes, no]:
                return self.resolve(yes if self.resolve(self.template["Conditions"][condition]) else no)
            case "!Equals", [one, other]:
                return self.resolve(one) == self.resolve(other)
            case "!Select", [int(place), parts]:
                return self.resolve(parts)[place]
            case "!Split", [str(separator), text]:
                return self.resolve(text).split(separator)
        raise ValueError(f"{function} is not known here")

    def _can_resolve(self, resource: Json) -> bool:
        try:
            self.resolve(resource["Properties"])
        except KeyError:
            return False
        return True


def _queue(stack: Deployment, name: str, properties: Json) -> None:
    attributes = {key: _attribute(value) for key, value in properties.items() if key != "QueueName"}
    client = stack.client("sqs")
    url = client.create_queue(QueueName=properties["QueueName"], Attributes=attributes)["QueueUrl"]
    asked = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    stack.references[name], stack.attributes[f"{name}.Arn"] = url, asked["Attributes"]["QueueArn"]


def _attribute(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _bucket(stack: Deployment, name: str, properties: Json) -> None:
    bucket, client = properties.pop("BucketName"), stack.client("s3")
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    for key, value in properties.items():
        call, argument, shaped = BUCKET[key]
        getattr(client, call)(Bucket=bucket, **{argument: shaped(value)})
    stack.references[name] = bucket


def _encryption(value: Json) -> Json:
    (rule,) = value["ServerSideEncryptionConfiguration"]
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}]}


def _lifecycle(value: Json) -> Json:
    rules = [{"ID": rule["Id"], "Filter": {"Prefix": ""}, **rule} for rule in value["Rules"]]
    return {"Rules": [{name: one for name, one in rule.items() if name != "Id"} for rule in rules]}


def _managed_policy(stack: Deployment, name: str, properties: Json) -> None:
    document = json.dumps(properties["PolicyDocument"])
    made = stack.client("iam").create_policy(PolicyName=stack.references["Prefix"] + name, PolicyDocument=document)
    stack.references[name] = made["Policy"]["Arn"]


def _bucket_policy(stack: Deployment, name: str, properties: Json) -> None:
    # Not put: moto leaves out the conditions, and so denies everything.
    stack.references[name] = properties["Bucket"]


BUCKET: Mapping[str, tuple[str, str, Callable[[Json], Json]]] = {
    "BucketEncryption": ("put_bucket_encryption", "ServerSideEncryptionConfiguration", _encryption),
    "LifecycleConfiguration": ("put_bucket_lifecycle_configuration", "LifecycleConfiguration", _lifecycle),
    "OwnershipControls": ("put_bucket_ownership_controls", "OwnershipControls", dict),
    "PublicAccessBlockConfiguration": ("put_public_access_block", "PublicAccessBlockConfiguration", dict),
    "VersioningConfiguration": ("put_bucket_versioning", "VersioningConfiguration", dict),
}
CREATE: Mapping[str, Callable[[Deployment, str, Json], None]] = {
    "AWS::SQS::Queue": _queue,
    "AWS::S3::Bucket": _bucket,
    "AWS::S3::BucketPolicy": _bucket_policy,
    "AWS::IAM::ManagedPolicy": _managed_policy,
}
