"""Confluent's serializers at work: publish one purchase in each format and kind of framing.

Run by .venv-consumers, whose packages are not ours. Input: {"servers", "registry", "topic"}. Prints
the ids of the events.
"""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

IN_HEADER = {"schema.id.serializer": header_schema_id_serializer}
TIME = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
HEAD = {"specversion": "1.0", "source": "shop", "type": "io.ebbwatch.purchase", "subject": "c-1"}
DATA = {
    "type": "record",
    "name": "Purchase",
    "namespace": "shop",
    "fields": [
        {
            "name": "amount",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
        },
        {"name": "currency", "type": "string"},
    ],
}


def avro(data: Any) -> str:
    """Return the schema of an event with such data."""
    texts = [{"name": name, "type": "string"} for name in (*HEAD, "id")]
    time = {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    fields = [*texts, time, {"name": "data", "type": data}]
    return json.dumps({"type": "record", "name": "Event", "namespace": "shop", "fields": fields})


def protobuf() -> Any:
    """Return the class of an event that imports another file, as `protoc` would make it."""
    kind = descriptor_pb2.FieldDescriptorProto
    data = descriptor_pb2.FileDescriptorProto(
        name="shop/purchase.proto", package="shop", syntax="proto3"
    )
    purchase = data.message_type.add(name="Purchase")
    for number, name in enumerate(("amount", "currency"), 1):
        purchase.field.add(name=name, number=number, type=kind.TYPE_STRING, label=1)
    file = descriptor_pb2.FileDescriptorProto(
        name="shop/event.proto",
        package="shop",
        syntax="proto3",
        dependency=[data.name, "google/protobuf/timestamp.proto"],
    )
    file.message_type.add(name="NotThisOne")
    event = file.message_type.add(name="Event")
    for number, name in enumerate((*HEAD, "id"), 1):
        event.field.add(name=name, number=number, type=kind.TYPE_STRING, label=1)
    for number, (name, of) in enumerate(
        (("time", ".google.protobuf.Timestamp"), ("data", ".shop.Purchase")), 6
    ):
        event.field.add(name=name, number=number, type=kind.TYPE_MESSAGE, type_name=of, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(data.SerializeToString())
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Event"))


def main() -> None:
    """Publish the events and print their ids."""
    given = json.load(sys.stdin)
    client = SchemaRegistryClient({"url": given["registry"]})
    producer = Producer({"bootstrap.servers": given["servers"]})
    ids: list[str] = []

    def publish(name: str, serializer: Any, event: Any) -> None:
        headers: list[Any] = []
        context = SerializationContext(given["topic"], MessageField.VALUE, headers)
        producer.produce(given["topic"], serializer(event, context), "c-1", headers=headers)
        ids.append(name)

    decimal = {"amount": Decimal("12.50"), "currency": "USD"}
    text = {"amount": "12.50", "currency": "USD"}
    client.register_schema("shop.Purchase", Schema(json.dumps(DATA), "AVRO"))
    reference = SchemaReference("shop.Purchase", "shop.Purchase", 1)
    referring = Schema(avro("shop.Purchase"), "AVRO", [reference])
    for name, schema, conf in (
        ("avro", avro(DATA), {}),
        ("avro-in-header", avro(DATA), IN_HEADER),
        ("avro-with-reference", referring, {}),
    ):
        event = {**HEAD, "id": name, "time": TIME, "data": decimal}
        publish(name, AvroSerializer(client, schema, conf=conf), event)
    made = protobuf()
    for name, conf in (("protobuf", {}), ("protobuf-in-header", IN_HEADER)):
        event = made(**HEAD, id=name, time=TIME, data=text)
        publish(name, ProtobufSerializer(made, client, conf), event)
    declared = json.dumps({"title": "Event", "type": "object"})
    for name, conf in (("json", {}), ("json-in-header", IN_HEADER)):
        event = {**HEAD, "id": name, "time": TIME.isoformat(), "data": text}
        publish(name, JSONSerializer(declared, client, conf=conf), event)
    if producer.flush(30):
        raise SystemExit("not all were acknowledged")
    print(json.dumps(ids))


if __name__ == "__main__":
    main()
