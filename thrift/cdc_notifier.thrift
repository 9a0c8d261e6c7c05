// The values of the records in Kafka. See README.md.

namespace rs cdc_notifier

// ---- msgpack.thrift of machinegun-proto ----

/** No value. */
struct Nil {}

typedef list<Value> Array
typedef map<Value, Value> Object

/** What msgpack can express. Exactly one field is there. */
union Value {
    1: Nil nl
    2: bool b
    3: i64 i
    4: double flt
    /** Text; not checked to be UTF-8. */
    5: string str
    6: binary bin
    7: Object obj
    8: Array arr
}

// ---- eventsink topics ----

/** Namespace of a machine. */
typedef string Namespace
/** Id of a machine, unique within its namespace. */
typedef string ID
/** `YYYY-MM-DDTHH:MM:SSZ`, UTC, fractions of a second cut off. */
typedef string Timestamp

/** An event that a machine has recorded. */
struct MachineEvent {
    1: required Namespace source_ns
    2: required ID source_id
    /** Rises without gaps within a machine. */
    3: required i64 event_id
    /** When the machine recorded it. */
    4: required Timestamp created_at
    /** Version of the data's format, if the machine states one. */
    5: optional i32 format_version
    6: required Value data
}

/** The value of a record in an eventsink topic. */
union SinkEvent {
    1: MachineEvent event
}

// ---- lifecycle topics ----

/** The machine works. */
struct MachineStatusWorking {}

/** The machine has failed, and stands still until it is repaired. */
struct MachineStatusFailed {
    /** Why; `unknown` where nobody has said. */
    1: optional string reason
}

union MachineStatus {
    1: MachineStatusWorking working
    2: MachineStatusFailed failed
}

/** The machine has begun. */
struct MachineLifecycleCreatedEvent {}

/** The machine has failed or was repaired. */
struct MachineLifecycleStatusChangedEvent {
    1: required MachineStatus new_status
}

/** The machine is gone. */
struct MachineLifecycleRemovedEvent {}

union MachineLifecycleEvent {
    1: MachineLifecycleCreatedEvent created
    2: MachineLifecycleStatusChangedEvent status_changed
    3: MachineLifecycleRemovedEvent removed
}

union LifecycleEventData {
    1: MachineLifecycleEvent machine
}

/** The value of a record in a lifecycle topic. */
struct LifecycleEvent {
    1: required Namespace machine_ns
    2: required ID machine_id
    /** When the transaction that changed the machine was committed. */
    3: required Timestamp created_at
    4: required LifecycleEventData data
}
