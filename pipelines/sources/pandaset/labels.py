"""The class of the bucketed flow metric of every PandaSet label.

Source of the classes: Bucket Normalized EPE (BucketedSceneFlowEval).
"""

from __future__ import annotations

from store_schema.labels import Bucket

PANDASET_BUCKETS: dict[str, Bucket] = {
    "Car": Bucket.CAR,
    "Pickup Truck": Bucket.CAR,
    "Medium-sized Truck": Bucket.OTHER_VEHICLES,
    "Semi-truck": Bucket.OTHER_VEHICLES,
    "Towed Object": Bucket.OTHER_VEHICLES,
    "Bus": Bucket.OTHER_VEHICLES,
    "Emergency Vehicle": Bucket.OTHER_VEHICLES,
    "Train": Bucket.OTHER_VEHICLES,
    "Trolley": Bucket.OTHER_VEHICLES,
    "Tram / Subway": Bucket.OTHER_VEHICLES,
    "Other Vehicle - Construction Vehicle": Bucket.OTHER_VEHICLES,
    "Other Vehicle - Uncommon": Bucket.OTHER_VEHICLES,
    "Other Vehicle - Pedicab": Bucket.OTHER_VEHICLES,
    "Pedestrian": Bucket.PEDESTRIAN,
    "Pedestrian with Object": Bucket.PEDESTRIAN,
    "Bicycle": Bucket.WHEELED_VRU,
    "Motorcycle": Bucket.WHEELED_VRU,
    "Motorized Scooter": Bucket.WHEELED_VRU,
    "Personal Mobility Device": Bucket.WHEELED_VRU,
}
