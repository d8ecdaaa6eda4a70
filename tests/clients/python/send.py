"""Send one message: AMQP_URL=amqp://... python send.py order.place.v1 '{"order": ...}'"""
import os
import sys

import pika

routing_key, body = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
try:
    channel.basic_publish("quadrille.commands", routing_key, body, mandatory=True)
except pika.exceptions.UnroutableError:
    sys.exit(f"nobody consumes {routing_key}: the message was not sent")
connection.close()
