"""The official SDK, as a customer uses it: nothing but the endpoint is changed."""

import asyncio
import json
import os
from typing import Any

from rokuga.api.usersig import make
from rokuga.client import PAUSES
from rokuga.clock import utc_ms
from rokuga.config import App

BOT = "recorder_1"


class Client:
    """TRTC's recording API at ``url``. Raises TencentCloudSDKException as the SDK does."""

    def __init__(self, url: str, app: App) -> None:
        # The SDK's HTTP client would ask a proxy from the environment for the way to this machine.
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
        from tencentcloud.common.credential import Credential
        from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
        from tencentcloud.common.profile.client_profile import ClientProfile
        from tencentcloud.common.profile.http_profile import HttpProfile
        from tencentcloud.trtc.v20190722 import models, trtc_client

        scheme, _, endpoint = url.partition("://")
        profile = ClientProfile(httpProfile=HttpProfile(protocol=scheme, endpoint=endpoint), language="en-US")
        credential = Credential(app.secret_id, app.secret_key.get_secret_value())
        self._error = TencentCloudSDKException
        self._models = models
        self._app = app
        self._client = trtc_client.TrtcClient(credential, "ap-singapore", profile)

    async def _call(self, action: str, **fields: Any) -> dict[str, Any]:
        request = getattr(self._models, f"{action}Request")()
        request.from_json_string(json.dumps({"SdkAppId": self._app.sdk_app_id} | fields))
        call, pauses = getattr(self._client, action), iter(PAUSES)
        while True:
            try:
                answer = await asyncio.to_thread(call, request)
            except self._error as error:
                pause = next(pauses, None) if str(error.get_code()).startswith("InternalError") else None
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                told: dict[str, Any] = json.loads(answer.to_json_string())
                return told

    async def create(self, room: str, bucket: str, *, mode: int = 1, **fields: Any) -> str:
        """Start a recording of a string room in that RecordMode, with further members of the request; the answer is the TaskId."""
        answer = await self._call(
            "CreateCloudRecording",
            RoomId=room,
            RoomIdType=0,
            UserId=BOT,
            UserSig=make(self._app.sdk_app_id, BOT, self._app.user_sig_key.get_secret_value(), utc_ms() // 1000, 86400),
            RecordParams={"RecordMode": mode, "StreamType": 0, "MaxIdleTime": 30},
            StorageParams={"CloudStorage": {"Vendor": 0, "Region": "local", "Bucket": bucket, "AccessKey": "none", "SecretKey": "none"}},
            **fields,
        )
        return str(answer["TaskId"])

    async def describe(self, task_id: str) -> dict[str, Any]:
        return await self._call("DescribeCloudRecording", TaskId=task_id)

    async def delete(self, task_id: str) -> None:
        """Stop it."""
        await self._call("DeleteCloudRecording", TaskId=task_id)
